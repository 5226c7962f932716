"""`python -m dafka.cli` is the same as `dafka`."""

from dafka.cli.main import main

if __name__ == "__main__":
    main()
