"""The recorder: frames of RESP, transcripts, the loopback proxy that writes them down."""
