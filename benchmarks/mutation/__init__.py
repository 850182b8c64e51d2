"""Code that is broken on purpose, one operator, number or condition at a time, and the tests that notice."""
