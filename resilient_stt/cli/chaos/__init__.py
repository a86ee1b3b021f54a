"""`resilient-stt chaos`: every fault at many words, judged by the promises."""
