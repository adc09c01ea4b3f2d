"""From search results to something a person or another tool reads: rows, text that cannot deceive, a contact sheet."""
