/// An error from reading a file.
package typealias FileError = SwanError
