/// What kept a file from being read.
package typealias FileError = SwanError
