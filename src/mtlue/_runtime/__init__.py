"""Devices, memory, files and progress: what surrounds the method."""
