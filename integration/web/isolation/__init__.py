"""Run interactive tasks, such as previews, in processes that are killed after a time limit.

`fork_server` is the program that forks a process for each task. `fork_server_process` starts this program
and sends it tasks. `user_queue` decides whose task is next, and `frames` encodes the messages.
"""
