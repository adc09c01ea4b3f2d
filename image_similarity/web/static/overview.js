// The page "overview"; see templates/overview.html.
