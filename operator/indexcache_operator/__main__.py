"""`python -m indexcache_operator`."""

from indexcache_operator.main import main

main()
