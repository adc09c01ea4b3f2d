// The page "stacks"; see templates/stacks.html.
