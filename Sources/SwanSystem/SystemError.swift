/// What the operating system refused.
public typealias SystemError = SwanError
