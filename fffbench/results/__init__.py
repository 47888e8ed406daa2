"""What came out: records, the journal, readers and the store. Imports no torch and no implementation."""
