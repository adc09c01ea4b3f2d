"""Case: one database, opened; the public class of the library (signatures first, being filled in)."""
