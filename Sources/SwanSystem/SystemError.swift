/// A resource that the operating system does not provide.
public typealias SystemError = SwanError
