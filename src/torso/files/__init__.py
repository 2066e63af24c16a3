"""Files on this disk and from the web: ``atomic`` writes them whole or not at all, ``hashing`` reads and hashes them,
``download`` fetches them, ``disk_errors`` says what a disk refused.
"""
