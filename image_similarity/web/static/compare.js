// The page "compare"; see templates/compare.html.
