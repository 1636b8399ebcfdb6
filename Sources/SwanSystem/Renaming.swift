import CSwanSystem

/// Renames a file or folder without replacing an existing one.
///
/// - Returns: 0, or the error number: `EEXIST` if the target exists.
package func renameToNewName(_ path: String, _ target: String) -> Int32 {
    cs_rename_new(path, target)
}
