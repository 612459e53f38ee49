"""All of it on one machine: start the processes, restart what dies, stop them in order.

programs.py         which processes there are, and how each is started
prepare.py          what must be true before they start: port, lock, tables, admin, static files
embedded_redis.py   a Redis of our own, where no address is given
supervisor.py       start, restart with backoff, stop in order
leash.py            our end of the warden's pipe
warden.py           a program of its own that ends what a killed `up` left behind
output.py           one line at a time, with the name of the process before it
"""
