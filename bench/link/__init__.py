"""The link to a board: frames over a byte stream, a stop-and-wait session, typed requests.

`Device(Session(open_port(url, baud)))` is all a caller needs. The board's side is `firmware/link`.
"""
