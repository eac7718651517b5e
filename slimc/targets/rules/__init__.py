"""The rules of targets on files: a file per runtime, and those that several share."""
