"""What the dashboard's pages read, a module a page; nothing here writes."""
