// The page "library"; see templates/library.html.
