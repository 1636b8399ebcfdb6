public import SwanSystem

/// An error from a tokenizer or a prompt.
public typealias TextError = SwanError
