// The page "map"; see templates/map.html.
