"""What each command does and prints, a file a command; ``cli.py`` only parses and calls."""
