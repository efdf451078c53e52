"""What was read: lines by what became of them, and the quarantine by reason."""

from typing import Any

from kgspark.report.night_page.night import PageNight


def accounts(night: PageNight) -> list[dict[str, Any]]:
    """A row per table of the source: lines, and how many were kept, superseded, left out and quarantined."""
    rows = []
    for name, found in night.cleaning.get("accounts", {}).items():
        bad, left_out = sum(found["quarantined"].values()), sum(found["left_out"].values())
        files = night.cleaning.get("source_files", {}).get(name, [])
        rows.append(
            {
                "table": name,
                "files": len(files),
                "lines": found["lines"] - found["headers"],
                "kept": found["kept"],
                "superseded": found["superseded"],
                "left_out": left_out,
                "quarantined": bad,
            }
        )
    return rows


def reasons(night: PageNight) -> list[dict[str, Any]]:
    """The reasons of the quarantine and of lines left out: table, reason, lines; the most frequent first."""
    rows = [
        {"table": name, "reason": reason, "lines": count, "kind": kind}
        for name, found in night.cleaning.get("accounts", {}).items()
        for kind in ("quarantined", "left_out")
        for reason, count in found[kind].items()
    ]
    return sorted(rows, key=lambda row: (-row["lines"], row["table"], row["reason"]))


def hints(night: PageNight) -> list[str]:
    """What cleaning says about refused values."""
    return [str(hint) for hint in night.cleaning.get("hints", [])]
