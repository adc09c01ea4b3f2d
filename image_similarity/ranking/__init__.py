"""From vectors to an order: distances, the nearest, and which scenes a query is likely to be of."""
