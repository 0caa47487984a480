"""The signed transparency log of a federation of hospitals: what was sent, combined and paid.

Known parties need no coin and no mining. A log is a Merkle tree (RFC 9162) over entries, whose checkpoints are signed
by its operator and cosigned by witnesses (C2SP). Nothing here imports torch or opens a connection.
"""
