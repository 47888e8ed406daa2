"""Has a change made a kernel slower? Builds two revisions and drives them by fresh, light workers, block by block."""
