"""Line icons as SVG paths on a 24-pixel grid, and the words of state with their icon and tone."""

ICONS = {
    "logo": (
        '<path d="M4 20V10a8 8 0 0 1 16 0v10"/>'
        '<path d="M9 20v-8a3 3 0 0 1 6 0v8"/><path d="M2 20h20"/>'
    ),
    "menu": '<path d="M4 6h16M4 12h16M4 18h16"/>',
    "home": '<path d="M4 11l8-7 8 7"/><path d="M6 10v10h12V10"/>',
    "batch": '<path d="M4 7l8-4 8 4-8 4z"/><path d="M4 12l8 4 8-4M4 17l8 4 8-4"/>',
    "people": (
        '<circle cx="9" cy="8" r="3"/><path d="M3 20c0-4 2.5-6 6-6s6 2 6 6"/>'
        '<path d="M16 5a3 3 0 0 1 0 6M17 14c2.500.500 4 2.500 4 6"/>'
    ),
    "audit": '<path d="M6 3h12v18H6z"/><path d="M9 8h6M9 12h6M9 16h3"/>',
    "mixture": '<path d="M4 5h4v14H4zM10 10h4v9h-4zM16 13h4v6h-4z"/>',
    "run": '<path d="M7 4l13 8-13 8z"/>',
    "checkpoint": '<path d="M6 3v18"/><path d="M6 4h11l-3 4 3 4H6"/>',
    "evaluation": '<path d="M4 20h16"/><path d="M7 16v-5M12 16V5M17 16v-8"/>',
    "review": (
        '<path d="M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12z"/><circle cx="12" cy="12" r="3"/>'
    ),
    "promotion": '<path d="M12 20V5"/><path d="M5 12l7-7 7 7"/>',
    "compare": '<path d="M8 4v16M16 4v16"/><path d="M4 8h8M12 16h8"/>',
    "lineage": (
        '<circle cx="6" cy="5" r="2"/><circle cx="6" cy="19" r="2"/>'
        '<circle cx="18" cy="12" r="2"/><path d="M6 7v10M8 18c6 0 8-2 9-4"/>'
    ),
    "jobs": '<circle cx="12" cy="12" r="9"/><path d="M12 7v5l3 2"/>',
    "text": '<path d="M5 5h14M5 10h14M5 15h9"/>',
    "prompt": '<path d="M4 5h16v11H9l-5 4z"/>',
    "check": '<path d="M5 12l5 5 9-11"/>',
    "cross": '<path d="M6 6l12 12M18 6L6 18"/>',
    "question": '<path d="M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2"/><path d="M12 18h.01"/>',
    "clock": '<circle cx="12" cy="12" r="9"/><path d="M12 7v5l3 2"/>',
    "spinner": '<path d="M12 3a9 9 0 1 0 9 9"/>',
    "stop": '<rect x="6" y="6" width="12" height="12" rx="1"/>',
    "anchor": '<circle cx="12" cy="5" r="2"/><path d="M12 7v14M5 13c0 5 3 8 7 8s7-3 7-8M8 11h8"/>',
    "crown": '<path d="M4 18h16l1-11-5 4-4-6-4 6-5-4z"/>',
    "dash": '<path d="M6 12h12"/>',
    "warning": '<path d="M12 4l9 16H3z"/><path d="M12 10v4M12 17h.01"/>',
    "rules": '<path d="M12 3v18M5 7h14"/><path d="M5 7l-3 7h6zM19 7l-3 7h6z"/>',
    "download": '<path d="M12 4v12M7 11l5 5 5-5"/><path d="M4 20h16"/>',
    "upload": '<path d="M12 16V4M7 9l5-5 5 5"/><path d="M4 20h16"/>',
    "blend": '<circle cx="9" cy="12" r="6"/><circle cx="15" cy="12" r="6"/>',
    "up": '<path d="M6 15l6-6 6 6"/>',
    "down": '<path d="M6 9l6 6 6-6"/>',
}

# word of state -> (icon, tone, what the page says)
STATES = {
    "queued": ("clock", "quiet", "Waiting"),
    "claimed": ("spinner", "live", "Starting"),
    "running": ("spinner", "live", "Running"),
    "reading": ("spinner", "live", "Reading"),
    "counting": ("spinner", "live", "Counting tokens"),
    "asking": ("warning", "warn", "Needs an answer"),
    "generating": ("spinner", "live", "Preparing answers"),
    "succeeded": ("check", "good", "Done"),
    "done": ("check", "good", "Done"),
    "ready": ("check", "good", "Ready"),
    "failed": ("cross", "bad", "Failed"),
    "refused": ("cross", "bad", "Refused"),
    "diverged": ("cross", "bad", "Diverged"),
    "cancelled": ("stop", "quiet", "Stopped"),
    "stopped": ("stop", "quiet", "Stopped"),
    "lost": ("warning", "warn", "Lost"),
    "open": ("review", "live", "In review"),
    "in review": ("review", "live", "In review"),
    "approved": ("check", "good", "Approved"),
    "rejected": ("cross", "bad", "Rejected"),
    "closed": ("stop", "quiet", "Closed"),
    "retained": ("check", "good", "Retained"),
    "forgotten": ("cross", "bad", "Forgotten"),
    "inconclusive": ("question", "warn", "Inconclusive"),
    "pre-trained": ("anchor", "quiet", "Pre-trained"),
    "candidate": ("dash", "quiet", "Candidate"),
    "champion": ("crown", "good", "Champion"),
    "former champion": ("crown", "quiet", "Former champion"),
    "passed": ("check", "good", "Passed"),
    "barred": ("cross", "bad", "Barred"),
    "waiting": ("clock", "quiet", "Waiting"),
    "deleted": ("cross", "quiet", "Deleted"),
}
