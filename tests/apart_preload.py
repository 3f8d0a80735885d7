"""What processes apart have read before they begin."""

import tasks.render  # noqa: F401
