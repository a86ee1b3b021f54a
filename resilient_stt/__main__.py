"""`python -m resilient_stt`: the same as `resilient-stt`."""

from .cli import main

if __name__ == "__main__":
    main()
