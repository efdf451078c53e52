"""From source files to clean tables: dialects, lines, rules, accounts, quarantine."""
