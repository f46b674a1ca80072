"""Run instances of cases between peers and judge them."""
