"""Where the tasks' bytes come from: packages that carry samples, and the user's own files."""
