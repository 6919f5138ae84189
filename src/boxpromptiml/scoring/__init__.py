"""How predictions are scored: the rules, the scores themselves, and tables of them."""
