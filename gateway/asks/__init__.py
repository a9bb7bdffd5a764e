"""What can be asked of the gateway beside audio and its metadata, and what comes back: one file for each subject."""
