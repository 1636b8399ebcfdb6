import SwanSystem

/// What went wrong with a tokenizer or a prompt.
public typealias TextError = SwanError
