"""Stage `decode`: a record becomes a request, or is no request at all. The contract decides."""

from services.runtime.engine.ports import Record
from services.worker.causes import NOT_A_REQUEST
from sluice_contracts import CompletionRequested, InvalidEvent, decode_request


def decode(record: Record) -> CompletionRequested:
    """Read a record as a request.

    Raises:
        SluiceError: `invalid_event`: the bytes are not a request.
    """
    try:
        return decode_request(record.value, record.headers)
    except InvalidEvent as exc:
        raise NOT_A_REQUEST.error(str(exc)) from None
