"""Any data frame -> its sums, in one pass by the engine that holds it."""
