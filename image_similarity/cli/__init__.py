"""The command line: parses, calls the library once, renders; nothing else in the package prints or exits."""
