"""The database: the only room that speaks SQL. It takes and gives values, never rows or sessions."""
