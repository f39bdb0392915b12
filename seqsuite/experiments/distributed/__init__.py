"""One large run: several processes that train one model together."""
