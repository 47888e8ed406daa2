"""What happens between a plan and a result file: the journals of runs, the sources they rest on, their end."""
