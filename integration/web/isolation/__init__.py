"""Runs work with templates of users in a process that is killed when it takes too long.

`helper` is the program of that process, `helper_process` starts it and gives it work, `user_queue` decides
whose work is next, and `frames` are the messages between them.
"""
