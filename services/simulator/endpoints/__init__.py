"""One file per endpoint; each header says what is imitated and what is not."""
