"""Words: comparing what two providers wrote, and trimming what was committed before."""
