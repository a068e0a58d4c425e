"""Runs interactive work in a process that is killed when it takes too long.

`fork_server` is the program that forks a process for each piece of work. `fork_server_process` starts that
program and gives it work. `user_queue` decides whose work is next. `frames` are the messages between them.
"""
