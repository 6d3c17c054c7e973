"""Reads the headers of the logs of earlier runs."""

from inspect_ai.log import EvalLog, EvalLogInfo, read_eval_log

from vlmguard.guard.log_errors import readable

__all__ = ["read_header"]


def read_header(info: EvalLogInfo) -> EvalLog:
    """The header of a log.

    Raises:
        UserError: It is damaged, or no log at all; names the file.
    """
    with readable(info.name.removeprefix("file://")):
        return read_eval_log(info, header_only=True)
