"""`make demo`: the scenarios, told to a person who watches."""
