"""Who may see the pages, and how they are served."""
