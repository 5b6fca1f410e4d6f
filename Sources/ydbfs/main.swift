print("ydbfs")
