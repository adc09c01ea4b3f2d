// The page "search"; see templates/search.html.
